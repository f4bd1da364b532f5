(function (token) {
  "use strict";
  function clamp(value) { return Math.min(1, Math.max(0, value)); }

  // Call move(u, v) with the place in [0, 1] x [0, 1] that a mouse hovers over, or that a press drags to.
  function follow(area, hover, move) {
    function place(event) {
      var box = area.getBoundingClientRect();
      move(clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height));
    }
    area.addEventListener("dragstart", function (event) { event.preventDefault(); });
    area.addEventListener("pointerdown", function (event) {
      if (event.button !== 0) { return; }
      area.setPointerCapture(event.pointerId);
      place(event);
    });
    area.addEventListener("pointermove", function (event) {
      if (area.hasPointerCapture(event.pointerId) || (hover && event.pointerType === "mouse")) { place(event); }
    });
  }

  function beforeAfter(root) {
    var range = root.querySelector("input");
    function show() {
      root.style.setProperty("--split", range.value + "%");
      range.setAttribute("aria-valuetext", range.value + " % " + range.dataset.before);
    }
    range.addEventListener("input", show);
    follow(root.querySelector(".rl-row"), false, function (u) { range.value = Math.round(100 * u); show(); });
    show();
  }

  function frames(root) {
    var range = root.querySelector("input"), output = root.querySelector("output");
    var panes = root.querySelectorAll(".rl-pane");
    function show() {
      panes.forEach(function (pane, index) { pane.classList.toggle("rl-shown", index === Number(range.value)); });
      var label = panes[range.value].querySelector(".rl-tag").textContent;
      output.textContent = label;
      range.setAttribute("aria-valuetext", label);
    }
    range.addEventListener("input", show);
    show();
  }

  function loupe(root) {
    var first = root.querySelector("img"), zoom = 4;
    var columns = Number(first.getAttribute("width")), rows = Number(first.getAttribute("height"));
    var spot = [0.5, 0.5], lenses = [];
    function draw() {
      lenses.forEach(function (lens) {
        var view = lens.parentNode, width = view.clientWidth, height = view.clientHeight;
        if (!width) { return; }  // folded away: drawn when it gets a size
        var side = Math.round(Math.min(0.42 * width, 0.6 * height, 150));
        // Whole screen pixels for each pixel of the largest picture, so that all pixels look alike.
        var pixel = Math.max(1, Math.round(zoom * Math.max(1, width / columns)));
        lens.style.width = lens.style.height = side + "px";
        lens.style.left = spot[0] * width - side / 2 + "px";
        lens.style.top = spot[1] * height - side / 2 + "px";
        lens.style.backgroundSize = pixel * columns + "px " + pixel * rows + "px";
        lens.style.backgroundPosition = Math.round(lens.clientWidth / 2 - spot[0] * pixel * columns) + "px "
          + Math.round(lens.clientHeight / 2 - spot[1] * pixel * rows) + "px";
        var x = Math.min(columns - 1, Math.floor(spot[0] * columns + 1e-6));
        var y = Math.min(rows - 1, Math.floor(spot[1] * rows + 1e-6));
        lens.setAttribute("aria-valuenow", x);
        lens.setAttribute("aria-valuetext", "column " + x + ", row " + y);
      });
    }
    function move(u, v) { spot = [clamp(u), clamp(v)]; draw(); }
    function press(event) {
      var step = event.shiftKey ? [1 / columns, 1 / rows] : [1 / 32, 1 / 32];
      var way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!way || event.altKey || event.ctrlKey || event.metaKey) { return; }
      event.preventDefault();
      event.stopPropagation();  // the book turns pages, and notebooks change cells, with these keys
      move(spot[0] + way[0] * step[0], spot[1] + way[1] * step[1]);
    }
    root.querySelectorAll(".rl-view").forEach(function (view) {
      var lens = document.createElement("div"), image = view.querySelector("img");
      lens.className = "rl-lens";
      lens.tabIndex = 0;
      lens.style.backgroundImage = "url(" + image.src + ")";
      lens.setAttribute("role", "slider");
      lens.setAttribute("aria-label", "Loupe over " + image.dataset.label + ", moved by the arrow keys");
      lens.setAttribute("aria-valuemin", 0);
      lens.setAttribute("aria-valuemax", columns - 1);
      lens.addEventListener("keydown", press);
      view.appendChild(lens);
      lenses.push(lens);
      follow(view, true, move);
    });
    new ResizeObserver(draw).observe(root);
    draw();
  }

  var kinds = { "rl-before-after": beforeAfter, "rl-frames": frames, "rl-loupe": loupe };
  document.querySelectorAll("." + token + ":not(.rl-on)").forEach(function (root) {
    root.classList.add("rl-on");
    Object.keys(kinds).forEach(function (kind) { if (root.classList.contains(kind)) { kinds[kind](root); } });
  });
})("TOKEN");
