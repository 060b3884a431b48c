// What the library's `stages` and `clean` modules say, for the browser: a test compares the two.

export const EPOCH_S = 30;
export const DISPLAY_ORDER = ["WAKE", "REM", "N1", "N2", "DEEP"]; // from top to bottom
export const QUALITIES = ["GOOD", "NOISY", "FLAT", "SATURATED", "OFF"];
