const list = document.querySelector("#users");
const owner = document.querySelector("#owner");

/** Show the users. They are links and not a menu, because each user has a separate page. */
export function showUsers(known, current) {
  const users = known.includes(current) ? known : [...known, current];
  list.replaceChildren(...users.map((user) => entry(user, user === current)));
  owner.textContent = `of ${current}`;
  document.title = `${current} · Sync upload broker`;
}

function entry(user, isCurrent) {
  const link = document.createElement("a");
  link.href = `?${new URLSearchParams({ user })}`;
  link.textContent = user;
  if (isCurrent) link.setAttribute("aria-current", "true");
  const item = document.createElement("li");
  item.append(link);
  return item;
}
