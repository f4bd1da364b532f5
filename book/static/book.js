// Names for controls that the theme and the widgets leave without one, or give one that differs from what they show.
(function () {
  "use strict";
  function widgets(root) {
    root.querySelectorAll(".widget-slider, .widget-inline-hbox").forEach(function (widget) {
      var handle = widget.querySelector(".noUi-handle"), label = widget.querySelector(".widget-label");
      var readout = widget.querySelector(".widget-readout");
      if (!handle) { return; }
      var name = (label && label.textContent.trim()) || "value", value = readout ? readout.textContent.trim() : "";
      // Only what changes is written: each write is seen by the observer below.
      if (handle.getAttribute("aria-label") !== name) { handle.setAttribute("aria-label", name); }
      if (value && handle.getAttribute("aria-valuetext") !== value) { handle.setAttribute("aria-valuetext", value); }
    });
    // ipywidgets has no alternative text for pictures: what the slider of their box says stands in for it.
    root.querySelectorAll("img.widget-image:not([alt])").forEach(function (image) {
      var box = image.parentElement;
      while (box && box !== root && !box.querySelector(".noUi-handle")) { box = box.parentElement; }
      var handle = box && box !== root && box.querySelector(".noUi-handle");
      if (handle) { image.alt = handle.getAttribute("aria-label") + ": " + handle.getAttribute("aria-valuetext"); }
    });
  }
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
  document.addEventListener("DOMContentLoaded", function () {
    controls();
    if (document.querySelector('script[type="application/vnd.jupyter.widget-view+json"]')) {
      var article = document.querySelector(".bd-article");
      new MutationObserver(function () { widgets(article); })
        .observe(article, { childList: true, subtree: true, attributes: true, attributeFilter: ["aria-valuenow"] });
    }
  });
})();
