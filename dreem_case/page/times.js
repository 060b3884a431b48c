// Writing times and shares.

const twoDigits = (number) => String(number).padStart(2, "0");

// 12.5 -> "12.5 min", 92 -> "1 h 32 min", 120 -> "2 h"
export function duration(minutes) {
  const hours = Math.floor(minutes / 60);
  const rest = minutes - 60 * hours;
  if (hours === 0) return `${rest} min`;
  return rest ? `${hours} h ${rest} min` : `${hours} h`;
}

// 5430 -> "1:30:30"
export function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${Math.floor(minutes / 60)}:${twoDigits(minutes % 60)}:${twoDigits(seconds % 60)}`;
}

// 0.8512 -> "85.1 %"
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
