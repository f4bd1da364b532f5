// Names for controls that the theme leaves without one, or gives one that differs from what they show.
(function () {
  "use strict";
  // A name must hold the words that are seen (WCAG 2.5.3); where words are seen, they are the name.
  function controls() {
    document.querySelectorAll(".search-button-field, .bd-article summary[aria-label]").forEach(function (control) {
      control.removeAttribute("aria-label");
      control.removeAttribute("title");
    });
    // Arrows that unfold a part of the list of pages say whose part; a bibliography is no list without list items.
    document.querySelectorAll(".bd-sidebar-primary li.has-children > details > summary").forEach(function (arrow) {
      arrow.setAttribute("aria-label", "Pages under " + arrow.closest("li").querySelector("a").textContent.trim());
    });
    document.querySelectorAll(".citation-list[role=list]").forEach(function (list) { list.removeAttribute("role"); });
    // Icons become drawings with names of their own, at a time of their choosing.
    document.querySelectorAll(".theme-switch-button").forEach(function (button) {
      new MutationObserver(function () { hush(button); }).observe(button, { childList: true, subtree: true });
      hush(button);
    });
  }
  function hush(button) {
    button.querySelectorAll("title").forEach(function (title) { title.remove(); });
    button.querySelectorAll("svg, i").forEach(function (icon) {
      icon.removeAttribute("aria-labelledby");
      icon.removeAttribute("title");
      icon.setAttribute("aria-hidden", "true");
    });
  }
  document.addEventListener("DOMContentLoaded", controls);
})();
