// Sets the theme before the first paint. A file of its own, so that the page needs no inline script for it.
(function () {
  var choice = null;
  try {
    choice = localStorage.getItem("gohub-theme");
  } catch (error) {
    // Storage can be switched off; the system's theme it is, then.
    void error;
  }
  if (choice === "light" || choice === "dark") document.documentElement.dataset.theme = choice;
})();
