// Order of search results. For the name of a parameter or function the API's pages are first; for other words a guide
// whose title has the word is first. Histories and sources are last. The page that explains what users ask for in other
// words than its title is before all others.
const searched = (new URLSearchParams(location.search).get("q") ?? "").trim();
const searchesForName = /[_.]|[a-z][A-Z]/.test(searched);
const explained = [
  [/missing|gaps?\b|\bnan\b/i, "user_guide/tables"],
  [/exposure|offset/i, "user_guide/estimators"],
  [/importance/i, "user_guide/estimators"],
  [/\bserv(e|ing|er)|deploy|latency|one row|drift|production/i, "how_to/in_production"],
];
const explains = (docname) => explained.some(([words, page]) => page === docname && words.test(searched));

var Scorer = {
  score: ([docname, , , , score]) => {
    if (!searchesForName && explains(docname)) return score + 100;
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
