// Loaded before embed-amd.js, so that widgets on a page ask nothing of the network, nor of the root of a server.
(function () {
  "use strict";
  // Modules that the bundle does not hold are looked for beside this file; the base is this file's own address, so
  // it holds on a server, under a sub-path and from file:// alike.
  var base = new URL(".", document.currentScript.src).href;
  window.__jupyter_widgets_assets_path__ = base;
  // The bundle's style sheets bring icon fonts of their own, from addresses that the line above comes too late for.
  // Without them the browser takes the theme's fonts, which have the same names.
  function dropFonts(style) {
    if (!style.sheet || style.textContent.indexOf("@jupyter-widgets") < 0) { return; }
    for (var index = style.sheet.cssRules.length - 1; index >= 0; index--) {
      var rule = style.sheet.cssRules[index];
      if (rule instanceof CSSFontFaceRule && rule.cssText.indexOf("@jupyter-widgets") >= 0) { style.sheet.deleteRule(index); }
    }
  }
  // Widgets hand their labels to MathJax in the way of its version 2, which version 3 no longer knows.
  var hub = {
    Queue: function (task) {
      var mathjax = window.MathJax;
      if (mathjax.startup && mathjax.startup.promise) {
        mathjax.startup.promise.then(function () { return mathjax.typesetPromise([task[2]]); });
      }
    },
  };
  var current = window.MathJax;
  function withHub(mathjax) {
    return mathjax && !mathjax.Hub ? Object.defineProperty(mathjax, "Hub", { value: hub }) : mathjax;
  }
  withHub(current);
  Object.defineProperty(window, "MathJax", {
    configurable: true,
    get: function () { return current; },
    set: function (mathjax) { current = withHub(mathjax); }, // MathJax puts itself in place of its settings
  });
  // Called before the next layout, which is when a browser would ask for the fonts.
  new MutationObserver(function (changes) {
    changes.forEach(function (change) {
      change.addedNodes.forEach(function (node) {
        var style = node.nodeName === "STYLE" ? node : change.target;
        if (style.nodeName === "STYLE") { dropFonts(style); }
      });
    });
  }).observe(document.head, { childList: true, subtree: true });
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("script[data-jupyter-widgets-cdn]").forEach(function (script) {
      script.setAttribute("data-jupyter-widgets-cdn", base + "npm/");
    });
  });
})();
