import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** The text of docs/client.md. */
export const page = await readFile(
  fileURLToPath(new URL("../../docs/client.md", import.meta.url)),
  "utf8",
);

/** The page's code, each block with its language and the role that is written behind that. */
export const blocks = [...page.matchAll(/^```(\w+)(.*)\n([\s\S]*?)^```$/gm)].map(
  ([, language, role, code]) => ({ language, role: role.trim(), code }),
);

/** Return the code with the role, which is the name of one block. */
export const codeOf = (role) => blocks.find((block) => block.role === role).code;

export const section = (title) => page.split(`# ${title}\n`)[1].split(/^#/m)[0];

/** Return the first block of a section: of markup only where the language says so. */
export const blockOf = (title, language = "(?!html)\\w+") =>
  section(title).match(new RegExp(`^\`\`\`${language}.*\\n([\\s\\S]*?)^\`\`\`$`, "m"))[1];
