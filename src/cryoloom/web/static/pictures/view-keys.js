/** Keys with the same meaning in all slice views. */

import { sizeOf } from "./slice-view.js";

/** Keys of a view: slices, zoom, contrast. */
export function viewKeys(view, slider) {
  return [
    { key: "ArrowUp", does: "next slice or tilt", run: () => view.step(1) },
    { key: "ArrowDown", does: "previous slice or tilt", run: () => view.step(-1) },
    { key: "PageUp", does: "next slice or tilt (3dmod)", run: () => view.step(1) },
    { key: "PageDown", does: "previous slice or tilt (3dmod)", run: () => view.step(-1) },
    { key: "Home", does: "first", run: () => view.go(0) },
    { key: "End", does: "last", run: () => view.info && view.go(sizeOf(view.info, view.axis) - 1) },
    { key: "+", does: "zoom in", run: () => view.zoomBy(1.25) },
    { key: "=", run: () => view.zoomBy(1.25) },
    { key: "-", does: "zoom out", run: () => view.zoomBy(0.8) },
    { key: "0", does: "show all of it", run: () => view.fit() },
    { key: "b", does: "automatic contrast", run: () => slider.auto() },
    { key: "i", does: "invert", run: () => slider.invert() },
    { key: "f", does: "full screen", repeat: false, run: () => fullScreen(view) },
  ];
}

function fullScreen(view) {
  if (document.fullscreenElement) document.exitFullscreen();
  else view.requestFullscreen?.();
}

/** Key and button that play the slices forwards and backwards. */
export function playKeys(view, button, perSecond = 12) {
  let timer = 0;
  let by = 1;
  const toggle = () => {
    if (timer) {
      clearInterval(timer);
      timer = 0;
    } else {
      timer = setInterval(() => {
        const last = sizeOf(view.info, view.axis) - 1;
        if (view.index + by > last || view.index + by < 0) by = -by;
        view.step(by);
      }, 1000 / perSecond);
    }
    button?.setAttribute("aria-pressed", String(Boolean(timer)));
  };
  button?.addEventListener("click", toggle);
  return [{ key: "p", does: "play and stop", repeat: false, run: toggle }];
}
