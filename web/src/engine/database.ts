/** Databases that the page can do without. */

import { type DBSchema, type IDBPDatabase, openDB } from "idb";

/**
 * Opens an IndexedDB database, in its first form.
 *
 * @param create makes its object stores
 * @returns undefined where the browser keeps nothing, as some do in private windows
 */
export async function openDatabase<Schema extends DBSchema>(
  name: string,
  create: (created: IDBPDatabase<Schema>) => void,
): Promise<IDBPDatabase<Schema> | undefined> {
  if (typeof indexedDB === "undefined") return undefined;
  try {
    return await openDB<Schema>(name, 1, {
      upgrade: create,
      // A page of a later version wants to change the form: let it.
      blocking: (_, __, event) => (event.target as IDBDatabase).close(),
    });
  } catch {
    return undefined;
  }
}
