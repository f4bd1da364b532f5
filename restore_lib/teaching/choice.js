(function (token, data) {
  "use strict";
  var KIND = "data:image/webp;base64,";

  function element(tag, kind, text) {
    var made = document.createElement(tag);
    if (kind) { made.className = kind; }
    if (text !== undefined) { made.textContent = text; }  // text, never markup
    return made;
  }

  function bar(name, part, truth) {
    var line = element("li", name === truth ? "rl-true" : ""), track = element("span", "rl-track");
    var fill = track.appendChild(element("span"));
    fill.style.width = 100 * part + "%";
    line.appendChild(element("span", "rl-name", (name === truth ? "\u2713 " : "") + name));
    line.appendChild(track);
    line.appendChild(element("span", "rl-part", Math.round(100 * part) + " %"));
    return line;
  }

  function wake(root) {
    var lists = [].slice.call(root.querySelectorAll("select")), images = root.querySelectorAll("img");
    var bars = root.querySelector(".rl-bars"), truth = root.querySelector(".rl-truth");
    var first = data.entries[0], pictures = data.pictures.slice();
    pictures[first[0]] = images[0].src.slice(KIND.length);
    if (images[1]) { pictures[first[2]] = images[1].src.slice(KIND.length); }

    function show() {
      var place = 0;
      lists.forEach(function (list, i) { place = place * data.values[i].length + list.selectedIndex; });
      var entry = data.entries[place];
      var chosen = lists.map(function (list, i) {
        return list.parentNode.firstChild.textContent + ": " + data.values[i][list.selectedIndex];
      }).join(", ");
      root.querySelector(".rl-chosen").textContent = chosen;
      images[0].src = KIND + pictures[entry[0]];
      images[0].alt = root.getAttribute("aria-label") + " (" + chosen + ")";
      if (images[1]) {
        images[1].src = KIND + pictures[entry[2]];
        images[1].alt = images[1].dataset.label + " (" + chosen + ")";
      }
      if (bars) {
        bars.replaceChildren.apply(bars, entry[3].map(function (pair) { return bar(pair[0], pair[1], entry[4]); }));
        truth.textContent = entry[4] === null ? "" : "true class: " + entry[4];
      }
      root.querySelector(".rl-caption").textContent = entry[1];
    }
    lists.forEach(function (list) {
      list.addEventListener("change", show);
      // The book turns pages, and notebooks change cells, with keys that choose here.
      list.addEventListener("keydown", function (event) { event.stopPropagation(); });
    });
    show();
  }

  document.querySelectorAll("." + token + ":not(.rl-on)").forEach(function (root) {
    root.classList.add("rl-on");
    wake(root);
  });
})("TOKEN", "DATA");
