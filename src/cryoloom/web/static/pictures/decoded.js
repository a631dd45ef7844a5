/**
 * Decodes JPEGs to bitmaps one after the other: decoding takes ten milliseconds of a processor, and several decoders at
 * the same time stop the drawing if there are few processors.
 */

let last = Promise.resolve();

/** The bitmap of a JPEG. */
export function decoded(buffer) {
  const bitmap = last.then(() => decode(buffer));
  last = bitmap.catch(() => {});
  return bitmap;
}

async function decode(buffer) {
  // Without ImageDecoder the bytes are sent to the browser process and back as a blob.
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
