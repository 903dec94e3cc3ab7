// Everything works without this.

// The slash key goes to the search, and escape leaves it.
document.addEventListener("keydown", function (event) {
  var field = event.target.tagName;
  var search = document.getElementById("search");
  if (event.key === "Escape" && event.target === search) return search.blur();
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || field === "INPUT" || field === "SELECT" || field === "TEXTAREA") return;
  event.preventDefault();
  search.focus();
});

// The arrow keys go from the search to what it found, and through that.
document.addEventListener("keydown", function (event) {
  var step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  var stops = [document.getElementById("search")].concat(Array.from(document.querySelectorAll("[data-results] a.name")));
  var at = stops.indexOf(event.target), next = stops[at + step];
  if (at < 0 || !next) return;
  event.preventDefault();
  next.focus();
});

// A click beside the menu closes it, as the escape key does.
function close(event) {
  document.querySelectorAll("details.menu[open]").forEach(function (menu) {
    if (event.type === "keydown" ? event.key === "Escape" : !menu.contains(event.target)) menu.open = false;
  });
}
document.addEventListener("click", close);
document.addEventListener("keydown", close);

// A picture that is wider than its place shows its middle first.
document.querySelectorAll(".picture").forEach(function (p) { p.scrollLeft = (p.scrollWidth - p.clientWidth) / 2; });

// A page that shows something unfinished asks for itself again, as long as
// somebody looks at it: soon after a change, and seldom where nothing happens.
(function () {
  var soon = 2000, seldom = 15000;
  var wait = soon, tag = "", timer = 0;

  function live() { return document.querySelector("main [data-live]"); }

  // busy tells whether somebody is filling a form, which must not go away.
  function busy() {
    var at = document.activeElement;
    return at && at.closest("main form") || document.querySelector("main details[open]");
  }

  function later() {
    clearTimeout(timer);
    if (live()) timer = setTimeout(look, wait);
  }

  function show(text) {
    var main = document.querySelector("main");
    var news = new DOMParser().parseFromString(text, "text/html").querySelector("main");
    if (!news || news.innerHTML === main.innerHTML) return false;
    var at = document.activeElement, href = main.contains(at) && at.getAttribute("href");
    main.replaceChildren.apply(main, Array.from(news.childNodes));
    if (href) Array.from(main.querySelectorAll("a")).some(function (a) { return a.getAttribute("href") === href && (a.focus(), true); });
    return true;
  }

  function look() {
    if (document.visibilityState !== "visible" || busy()) return later();
    fetch(location.pathname + location.search, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store", credentials: "same-origin" })
      .then(function (answer) {
        if (answer.status === 304) return "";
        if (!answer.ok) throw new Error(answer.statusText);
        tag = answer.headers.get("ETag") || "";
        return answer.text();
      })
      .then(function (text) { wait = text && show(text) ? soon : Math.min(seldom, wait * 1.3); })
      .catch(function () { wait = seldom; })
      .then(later);
  }

  document.addEventListener("visibilitychange", function () {
    if (document.visibilityState === "visible" && live()) { wait = soon; look(); }
  });
  later();
})();
