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

const pageError = document.querySelector("#page-error");

/** Show an error at the top. The rest of the page continues to work. */
function report(error) {
  pageError.replaceChildren(...describeFailure(error));
  pageError.hidden = false;
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
  // The gallery is loaded first, so that newly completed uploads are added above the older ones.
  await uploads.findUnfinished();
}

start().catch(report);
