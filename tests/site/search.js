// Prints, as JSON, the first page that the site's own search finds for each query. Arguments: the folder, the queries.
const fs = require("fs"), vm = require("vm");
const [folder, ...queries] = process.argv.slice(2);
const text = (name) => fs.readFileSync(`${folder}/${name}`, "utf8");
const found = queries.map((query) => {
  const nothing = () => null;
  const page = {
    location: { search: `?q=${encodeURIComponent(query)}` }, URLSearchParams, Set, Map,
    document: { addEventListener: nothing, getElementById: nothing, querySelector: nothing,
      createElement: () => ({}), documentElement: { dataset: { content_root: "./" } } },
    DOCUMENTATION_OPTIONS: {}, SPHINX_HIGHLIGHT_ENABLED: false, _: (word) => word, _ready: nothing,
    localStorage: { setItem: nothing, getItem: nothing },
  };
  page.window = page;
  vm.createContext(page);
  vm.runInContext(text("_static/language_data.js"), page);
  vm.runInContext(`${text("_static/searchtools.js")};this.Search = Search;`, page);
  vm.runInContext(text("searchindex.js").replace("Search.setIndex(", "Search._index=("), page);
  const parsed = `...Search._parseQuery(${JSON.stringify(query)})`;
  return vm.runInContext(`Search._performSearch(${parsed}).at(-1)?.[0] ?? ""`, page);
});
console.log(JSON.stringify(found));
