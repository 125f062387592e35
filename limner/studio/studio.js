// Boards: a visitor moves, scales, adds and removes the boxes of a layout, with a finger, a mouse or the keys. Every change is written, as
// JSON, into the field `.board-state` of the panel, which the page sends to the studio. Events are heard at the document, for the page puts
// its elements in and takes them out as it likes.
(() => {
  "use strict";
  const SMALLEST = 2; // pixels of the model's pictures
  let held = null;

  const within = (value, least, most) => Math.min(Math.max(value, least), Math.max(least, most));
  const boardOf = (element) => element.closest("[role=tabpanel]").querySelector(".board");
  const chosen = (board) => board.layout.things[board.chosen];

  function put(board, element, thing) {
    thing.box.forEach((value, place) => {
      element.style[["left", "top", "width", "height"][place]] = `${(100 * value) / board.layout.side}%`;
    });
  }

  function draw(board) {
    const { things, inks, most } = board.layout;
    const field = board.querySelector(".field");
    field.querySelectorAll(".thing").forEach((one) => one.remove());
    things.forEach((thing, number) => {
      const element = document.createElement("div");
      const name = `${number + 1} ${thing.label}`;
      element.className = "thing";
      element.tabIndex = 0;
      element.dataset.place = number;
      element.setAttribute("role", "button");
      element.setAttribute("aria-label", `${name}: arrows move it, with Shift they scale it, Delete removes it`);
      element.style.setProperty("--ink", inks[number % inks.length]);
      element.append(Object.assign(document.createElement("b"), { textContent: name }), document.createElement("i"));
      put(board, element, thing);
      field.append(element);
    });
    board.querySelector(".add").disabled = most !== null && things.length >= most;
    choose(board, Math.min(board.chosen, things.length - 1));
  }

  function choose(board, number) {
    board.chosen = number;
    board.querySelectorAll(".thing").forEach((one, place) => one.classList.toggle("chosen", place === number));
    board.querySelector(".remove").disabled = number < 0 || board.layout.things.length < 2;
  }

  function send(board) {
    const { model, caption, seed, given, things } = board.layout;
    const rounded = things.map((thing) => ({ ...thing, box: thing.box.map((value) => Math.round(100 * value) / 100) }));
    const field = board.closest("[role=tabpanel]").querySelector(".board-state textarea");
    field.value = JSON.stringify({ model, caption, seed, given, things: rounded });
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function change(board, box, right, down, scales) {
    const side = board.layout.side;
    const [left, top, width, height] = box;
    if (scales) return [left, top, within(width + right, SMALLEST, side - left), within(height + down, SMALLEST, side - top)];
    return [within(left + right, 0, side - width), within(top + down, 0, side - height), width, height];
  }

  // A new picture has come: its layout, where the board does not have it yet.
  window.limnerLaid = (image) => {
    if (!image.isConnected) return; // it was made and not yet put in
    const board = boardOf(image);
    const layout = JSON.parse(image.closest(".laid").dataset.layout);
    board.querySelector("img").src = image.src;
    if (!layout.fresh) return;
    board.layout = layout;
    board.chosen = 0;
    board.querySelector("select").replaceChildren(...layout.names.map((name) => new Option(name)));
    board.hidden = false;
    draw(board);
  };

  document.addEventListener("pointerdown", (event) => {
    const element = event.target.closest?.(".board .thing");
    if (!element || event.button > 0) return;
    event.preventDefault();
    const board = element.closest(".board");
    const place = Number(element.dataset.place);
    choose(board, place);
    element.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    const scales = event.target.tagName === "I";
    held = { board, element, thing: chosen(board), scales, pointer: event.pointerId, x: event.clientX, y: event.clientY, moved: false };
    held.box = held.thing.box;
  });

  document.addEventListener("pointermove", (event) => {
    if (!held || held.pointer !== event.pointerId) return;
    const pixel = held.board.querySelector(".field").clientWidth / held.board.layout.side;
    held.thing.box = change(held.board, held.box, (event.clientX - held.x) / pixel, (event.clientY - held.y) / pixel, held.scales);
    held.moved = true;
    put(held.board, held.element, held.thing);
  });

  for (const kind of ["pointerup", "pointercancel"]) {
    document.addEventListener(kind, (event) => {
      if (!held || held.pointer !== event.pointerId) return;
      if (held.moved) send(held.board);
      held = null;
    });
  }

  document.addEventListener("keydown", (event) => {
    const element = event.target.closest?.(".board .thing");
    if (!element) return;
    const board = element.closest(".board");
    choose(board, Number(element.dataset.place));
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) {
      chosen(board).box = change(board, chosen(board).box, ...way, event.shiftKey);
      put(board, element, chosen(board));
    } else if (event.key === "Delete" && board.layout.things.length > 1) {
      board.layout.things.splice(board.chosen, 1);
      draw(board);
      board.querySelector(".thing.chosen").focus({ preventScroll: true });
    } else return;
    event.preventDefault();
    send(board);
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".board .add, .board .remove");
    if (!button) return;
    const board = button.closest(".board");
    const { things, side } = board.layout;
    if (button.classList.contains("add")) {
      things.push({ label: board.querySelector("select").value, box: [side / 3, side / 3, side / 3, side / 3] });
      board.chosen = things.length - 1;
    } else things.splice(board.chosen, 1);
    draw(board);
    send(board);
  });
})();
