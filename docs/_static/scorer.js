// Order of search results. For the name of a parameter or function the API's pages are first; for other words a guide
// whose title has the word is first. Histories and sources are last.
const searchesForName = /[_.]|[a-z][A-Z]/.test(new URLSearchParams(location.search).get("q") ?? "");

var Scorer = {
  score: ([docname, , , , score]) => {
    if (docname.startsWith("api/generated/xpnet.dask")) return score + (searchesForName ? 29 : 8);
    if (docname.startsWith("api/")) return score + (searchesForName ? 30 : 9);
    return docname.match(/^(changelog|design\/|contributing\/|_modules\/)/) ? score - 20 : score;
  },
  // The other numbers are Sphinx's own.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: {0: 15, 1: 5, 2: -5},
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
