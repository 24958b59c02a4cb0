/** Who watches a tree of folders: on Linux tree-events.ts, which is lighter, elsewhere chokidar, which knows their ways. */
import { watchByChokidar } from './tree-chokidar.ts';
import { type TreeEvents, type TreeListener, type TreeOptions, watchFolders } from './tree-events.ts';

/** @param root absolute. */
export function watchTree(
  root: string,
  options: TreeOptions,
  listener: TreeListener,
  platform: NodeJS.Platform,
): TreeEvents {
  return platform === 'linux' ? watchFolders(root, options, listener) : watchByChokidar(root, options, listener);
}
