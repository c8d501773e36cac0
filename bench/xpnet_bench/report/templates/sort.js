// Tables sort by the column whose heading is pressed: numbers by value, words by alphabet, empty cells last.
for (const heading of document.querySelectorAll("thead th")) {
  heading.querySelector("button").addEventListener("click", () => {
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const direction = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].sort((a, b) => direction * order(a.cells[column], b.cells[column], direction));
    table.tBodies[0].append(...rows);
  });
}
function order(a, b, direction) {
  const [x, y] = [a, b].map((cell) => (cell.textContent === "–" ? null : cell.dataset.value));
  if (x === undefined || y === undefined) return a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
  if (x === null || y === null) return direction * ((x === null) - (y === null));
  return x - y;
}
