"use strict";
{
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // Light and dark: as the system has it until the button says otherwise.
  const theme = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); });
  system.addEventListener("change", label);
  label();

  // Tables: a value before a text, texts as people order them; equal rows keep their order.
  const collator = new Intl.Collator("en", { numeric: true });
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return { value: cell.dataset.value === "" ? null : Number(cell.dataset.value), text: cell.textContent };
  };
  const compare = (a, b, way) => {
    if (a.value === null && b.value === null) return way * collator.compare(a.text, b.text);
    if (a.value === null || b.value === null) return a.value === null ? 1 : -1;
    return way * (a.value - b.value);
  };
  const sort = (head) => {
    const body = head.closest("table").tBodies[0];
    const column = head.cellIndex;
    const before = head.getAttribute("aria-sort");
    const falls = before === "none" ? head.classList.contains("n") : before === "ascending";
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", falls ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [row, keyOf(row, column)]);
    rows.sort((a, b) => compare(a[1], b[1], falls ? -1 : 1));
    body.append(...rows.map(([row]) => row));
  };
  for (const button of all(".sort")) {
    if (button.closest("table").tBodies[0].rows.length > 1) {
      button.addEventListener("click", () => sort(button.closest("th")));
    }
  }

  // Tips of charts, for the mouse and for the keyboard; the browser's own would only come on top.
  const tip = document.getElementById("tip");
  let told = null;
  const centre = (mark) => {
    const box = (mark.querySelector(".dot, rect:not(.row)") ?? mark).getBoundingClientRect();
    return { x: box.left + box.width / 2, y: box.top + box.height / 2, half: box.height / 2 };
  };
  const place = () => {
    const at = centre(told);
    const left = Math.min(Math.max(at.x - tip.offsetWidth / 2, 8), root.clientWidth - tip.offsetWidth - 8);
    const above = at.y - at.half - tip.offsetHeight - 10;
    tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(above > 4 ? above : at.y + at.half + 10)}px)`;
  };
  const tell = (mark) => {
    told = mark;
    tip.hidden = told === null;
    if (told === null) return;
    const [name, ...rest] = told.dataset.tip.split("\n");
    const head = document.createElement("strong");
    head.textContent = name;
    tip.replaceChildren(head, rest.join("\n"));
    place();
  };
  for (const title of all(".mark > title")) title.remove();
  document.addEventListener("scroll", () => { if (told) place(); }, { capture: true, passive: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tell(null); });

  // One strategy, everywhere: in all charts and tables.
  const named = all("[data-name]");
  const light = (one) => {
    const name = one?.closest("[data-name]")?.dataset.name;
    root.classList.toggle("lighting", name !== undefined);
    for (const other of named) other.classList.toggle("lit", other.dataset.name === name);
  };

  // Of marks that lie on each other the pointer means the one whose middle is nearest.
  const meant = (event) => {
    const under = document.elementsFromPoint(event.clientX, event.clientY).map((one) => one.closest(".mark"));
    const far = (mark) => Math.hypot(centre(mark).x - event.clientX, centre(mark).y - event.clientY);
    return [...new Set(under)].filter((mark) => mark).sort((a, b) => far(a) - far(b))[0] ?? null;
  };
  let pointed = null;
  const point = (event) => {
    const mark = event.target.closest(".chart") ? meant(event) : null;
    const now = mark ?? event.target.closest("[data-name]");
    if (now === pointed) return;
    pointed = now;
    tell(mark);
    light(now);
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
  root.addEventListener("pointerleave", () => { pointed = null; tell(null); light(null); });
  document.addEventListener("focusin", (event) => { tell(event.target.closest(".mark")); light(event.target); });
  document.addEventListener("focusout", () => { tell(null); light(null); });

  // Arrow keys go on from a chart's first mark: along a line, over the cells of a heat map.
  const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  for (const chart of all(".chart")) {
    const rows = all(".series, .row", chart).map((row) => all(".mark", row)).filter((row) => row.length);
    chart.addEventListener("keydown", (event) => {
      const row = rows.findIndex((found) => found.includes(document.activeElement));
      if (row < 0 || !(event.key in step)) return;
      const [down, right] = step[event.key];
      const next = rows[row + down]?.[rows[row].indexOf(document.activeElement) + right];
      event.preventDefault();
      next?.focus();
    });
  }

  // Copy, or where the browser forbids it, select.
  for (const button of all(".copy")) {
    const code = button.parentNode.querySelector("code");
    const said = (word) => { button.textContent = word; setTimeout(() => { button.textContent = "Copy"; }, 1600); };
    button.hidden = false;
    button.addEventListener("click", () => {
      getSelection().selectAllChildren(code);
      navigator.clipboard.writeText(code.textContent).then(() => said("Copied"), () => said("Selected"));
    });
  }

  // On paper every fold is open.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    for (const fold of folded) fold.open = true;
  });
  addEventListener("afterprint", () => { for (const fold of folded) fold.open = false; });

  // Where the reader is, in the table of contents.
  const links = new Map(all(".contents a").map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((found) => found.isIntersecting)) {
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id).setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  for (const section of all("main > section")) seen.observe(section);
}
