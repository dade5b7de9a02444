// Puts amounts and times into the reader's own language. Without it they stand there in plain English.

/** `decimal` ("1234.50") with the places that it has. Exact: the number is never a floating-point number. */
export function number(decimal) {
  const places = (decimal.split(".")[1] || "").length;
  try {
    return new Intl.NumberFormat(undefined, { minimumFractionDigits: places, maximumFractionDigits: places }).format(decimal);
  } catch {
    return decimal;
  }
}

/** `decimal` of `unit`, as an element `data` shows it. */
export function amount(decimal, unit) {
  return unit ? `${number(decimal)}\u00a0${unit}` : number(decimal);
}

/** Minor units, as text, in decimals: ("1050", 2) is "10.50". */
export function decimal(minor, places) {
  if (places === 0) return minor;
  const digits = minor.padStart(places + 1, "0");
  return `${digits.slice(0, -places)}.${digits.slice(-places)}`;
}

/** An instant as the reader writes it. */
export function time(instant, exact) {
  const style = { dateStyle: exact ? "medium" : "long", timeStyle: exact ? "medium" : "short" };
  return new Intl.DateTimeFormat(undefined, style).format(instant);
}

/** Puts everything in `root` into the reader's language. */
export function localize(root) {
  for (const element of root.querySelectorAll("data[value]")) {
    element.textContent = amount(element.value, element.dataset.unit);
  }
  for (const element of root.querySelectorAll("time[datetime]")) {
    const instant = new Date(element.dateTime);
    if (Number.isNaN(instant.getTime())) continue;
    element.title = element.title || element.textContent;
    element.textContent = time(instant, "exact" in element.dataset);
  }
}

/** Buttons in `root` that copy what stands in another element. They show only where copying works. */
export function copying(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("button[data-copy]")) {
    const words = button.textContent;
    button.classList.add("ready");
    button.addEventListener("click", async () => {
      const from = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(from.textContent.trim());
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not copied";
      }
      setTimeout(() => { button.textContent = words; }, 2000);
    });
  }
}

localize(document);
copying(document);
