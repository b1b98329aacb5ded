/**
 * Places for things in a list that many change: texts of a to z, sorted as text, such that there is always
 * another one between two of them.
 */

const A = "a".charCodeAt(0);
const BASE = 26;

const digit = (text, index, otherwise) => (index < text.length ? text.charCodeAt(index) - A : otherwise);
const letter = (value) => String.fromCharCode(A + value);

/**
 * A place between two; "" stands for the very beginning as `before`, and for the very end as `after`. None
 * ends in "a", as there would be no room before it. Two pages that ask at once get different ones, most
 * likely: a letter is drawn at random.
 */
export function placeBetween(before, after, chance = Math.random) {
  let place = "";
  let isBelow = after !== ""; // `after` still bounds what follows
  for (let index = 0; ; index += 1) {
    const low = digit(before, index, 0);
    const high = isBelow ? digit(after, index, BASE) : BASE;
    if (high - low > 1) {
      const middle = low + 1 + Math.floor(((high - low - 1) * (1 + chance())) / 3);
      return place + letter(middle) + letter(1 + Math.floor(chance() * (BASE - 1)));
    }
    place += letter(low);
    if (high > low) isBelow = false;
  }
}
