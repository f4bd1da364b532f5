// Loaded before embed-amd.js, so that widgets on a page ask nothing of the network, nor of the root of a server.
(function () {
  "use strict";
  // Its style sheet brings icon fonts of its own. An empty one makes the browser fall back to the theme's font of the
  // same name, which is there already.
  window.__jupyter_widgets_assets_path__ = "data:font/woff2,#";
  // Modules that the bundle does not hold are looked for beside this file; the base is this file's own address, so
  // it holds on a server, under a sub-path and from file:// alike.
  var base = new URL(".", document.currentScript.src).href;
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("script[data-jupyter-widgets-cdn]").forEach(function (script) {
      script.setAttribute("data-jupyter-widgets-cdn", base + "npm/");
    });
  });
})();
