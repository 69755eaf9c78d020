import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** The text of docs/client.md. */
export const page = await readFile(
  fileURLToPath(new URL("../../docs/client.md", import.meta.url)),
  "utf8",
);

/** The page's blocks of code, each with its language and the role that follows it on the first line. */
export const blocks = [...page.matchAll(/^```(\w+)(.*)\n([\s\S]*?)^```$/gm)].map(
  ([, language, role, code]) => ({ language, role: role.trim(), code }),
);

/** Return the code of the block that has this role. */
export const codeOf = (role) => blocks.find((block) => block.role === role).code;

/** Return the text below a heading, up to the next heading. */
export const section = (title) => page.split(`# ${title}\n`)[1].split(/^#/m)[0];

/** Return the first block of a section, which is HTML only if the language asks for it. */
export const blockOf = (title, language = "(?!html)\\w+") =>
  section(title).match(new RegExp(`^\`\`\`${language}.*\\n([\\s\\S]*?)^\`\`\`$`, "m"))[1];
