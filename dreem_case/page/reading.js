// Reading one epoch: by pointer on the drawings, or by the arrow keys on the slider that lies over them.

import { byId, html } from "./elements.js";
import { swatch } from "./report.js";
import { DISPLAY_ORDER, EPOCH_S, QUALITIES } from "./stages.js";
import { clock, percent } from "./times.js";

const HINT = "Touch or point at the drawings, or use the arrow keys, to read one epoch.";

// "eeg3, eeg4 noisy; eeg5 off", or "all channels good"
function qualityAt(channels, epoch) {
  const told = QUALITIES.filter((quality) => quality !== "GOOD").map((quality) => {
    const names = channels.filter((channel) => channel.quality[epoch] === quality).map(({ name }) => name);
    return names.length ? `${names.join(", ")} ${quality.toLowerCase()}` : "";
  });
  return told.filter(Boolean).join("; ") || "all channels good";
}

export function startReading(details) {
  const { n_epochs, stages, stage_names, probabilities, confidence, review, usable, bridged, channels } = details;
  const [slider, panels, readout] = [byId("epoch"), byId("panels"), byId("readout")];
  readout.replaceChildren(html("p", { class: "hint" }, HINT));
  slider.max = n_epochs - 1;

  function read(epoch) {
    slider.value = epoch;
    const stage = stages[epoch];
    const place = `Epoch ${epoch + 1} of ${n_epochs}, ${clock(epoch * EPOCH_S)}`;
    const rated = `${stage} ${percent(confidence[epoch], 0)}${review[epoch] ? ", to review" : ""}`;
    const sure = usable[epoch] ? rated : `${stage}, for want of a stage`;
    const gap = bridged[epoch] ? "no usable EEG, staged by its neighbours" : "no usable EEG for minutes, not counted";
    const quality = usable[epoch] && !bridged[epoch] ? qualityAt(channels, epoch) : gap;
    slider.setAttribute("aria-valuetext", `${place}, ${sure}, ${quality}`);
    const shares = DISPLAY_ORDER.map((name) => {
      const share = 100 * probabilities[epoch][stage_names.indexOf(name)];
      return html("span", {}, `${name} ${share.toFixed(0)}`);
    });
    readout.replaceChildren(
      html("p", {}, place, html("b", {}, swatch(`stage-${stage}`), sure)),
      html("p", { class: "shares" }, ...shares, "%"),
      html("p", { class: "channels" }, quality),
    );
    panels.classList.add("reading");
    for (const line of panels.querySelectorAll(".cursor")) line.setAttribute("transform", `translate(${epoch + 0.5})`);
  }

  slider.addEventListener("input", () => read(slider.valueAsNumber));
  slider.addEventListener("focus", () => read(slider.valueAsNumber));
  for (const kind of ["pointerdown", "pointermove"]) {
    panels.addEventListener(kind, (event) => {
      const drawing = event.target.closest(".plot");
      if (!drawing) return;
      const { left, width } = drawing.getBoundingClientRect();
      const epoch = Math.floor((n_epochs * (event.clientX - left)) / width);
      read(Math.min(Math.max(epoch, 0), n_epochs - 1));
    });
  }
}
