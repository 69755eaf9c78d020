import { announce } from "./announcer.js";
import { describeFailure } from "./failure.js";
import { createGallery } from "./gallery.js";
import { showLimits } from "./limits.js";
import { acceptFiles } from "./picker.js";
import { openSession } from "./session.js";
import { titleOf } from "./title.js";
import { createUploads } from "./uploads.js";
import { createUrlForm } from "./url-form.js";
import { showUsers } from "./users.js";

const trouble = document.querySelector("#trouble");

/** Says what failed; the rest of the page works without it. */
function report(error) {
  trouble.replaceChildren(...describeFailure(error));
  trouble.hidden = false;
}

async function start() {
  const session = await openSession();
  const { user, config, uploader } = session;
  showUsers(config.users, user);

  const gallery = createGallery(uploader, report);
  const uploads = createUploads(uploader, (upload) => {
    gallery.add(upload);
    announce(`${titleOf(upload)} is ready`);
  });
  acceptFiles((files) => uploads.add(files));
  createUrlForm(uploader, config.samples, (upload) => gallery.add(upload));

  await Promise.all([gallery.load(), showLimits(uploader, report)]);
  // After the gallery, which puts what is completed by this on top of the rest.
  await uploads.findUnfinished();
}

start().catch(report);
