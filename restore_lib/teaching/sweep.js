(function (token, data) {
  "use strict";
  function wake(root) {
    var range = root.querySelector("input"), output = root.querySelector("output");
    var images = root.querySelectorAll("img"), shown = Number(range.defaultValue);
    var caption = root.querySelector(".rl-caption");
    var sources = data.pictures.map(function (row, pane) {
      return row.map(function (picture) {
        return picture === null ? images[pane].src : "data:image/webp;base64," + picture;
      });
    });

    function show() {
      var step = Number(range.value), label = data.steps[step];
      output.textContent = label;
      range.setAttribute("aria-valuetext", label);
      if (step === shown) { return; }
      shown = step;
      if (caption) { caption.textContent = data.captions[step]; }
      images.forEach(function (image, pane) {
        image.src = sources[pane][step];
        image.alt = root.getAttribute("aria-label") + " (" + image.dataset.label + ", " + label + ")";
      });
    }
    range.addEventListener("input", show);
    // The book turns pages, and notebooks change cells, with keys that move the slider here.
    range.addEventListener("keydown", function (event) { event.stopPropagation(); });
    show();
  }

  document.querySelectorAll("." + token + ":not(.rl-on)").forEach(function (root) {
    root.classList.add("rl-on");
    wake(root);
  });
})("TOKEN", "DATA");
