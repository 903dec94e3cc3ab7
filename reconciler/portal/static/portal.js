// The slash key goes to the search. Everything works without this.
document.addEventListener("keydown", function (event) {
  var field = event.target.tagName;
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || field === "INPUT" || field === "SELECT" || field === "TEXTAREA") return;
  event.preventDefault();
  document.getElementById("search").focus();
});
