/**
 * JPEGs become bitmaps one after the other: a decoder takes a processor for ten milliseconds, and several at once stop
 * drawing where there are few of them.
 */

let last = Promise.resolve();

/** The bitmap of a JPEG. */
export function decoded(buffer) {
  const bitmap = last.then(() => decode(buffer));
  last = bitmap.catch(() => {});
  return bitmap;
}

async function decode(buffer) {
  // Without ImageDecoder the bytes go to the browser's process and back as a blob.
  if (!("ImageDecoder" in window)) return createImageBitmap(new Blob([buffer], { type: "image/jpeg" }));
  const decoder = new ImageDecoder({ data: buffer, type: "image/jpeg" });
  try {
    const { image } = await decoder.decode();
    const bitmap = await createImageBitmap(image);
    image.close();
    return bitmap;
  } finally {
    decoder.close();
  }
}
