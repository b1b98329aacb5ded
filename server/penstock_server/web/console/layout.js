// Where the tasks of a pipeline are drawn: in layers, each nearer to the end than what feeds it. Pure.

/**
 * The tasks of a run and what joins them.
 *
 * `tasks` is `[{id, stages, inlet, feeds}]`: the stages of one task in the order of the data, the
 * buffer in front of it (or null), and the ids of the tasks that send into that buffer.
 */
export function tasksOf(run) {
  const tasks = new Map();
  const taskOf = new Map();
  for (const stage of run.stages) {
    if (!tasks.has(stage.task)) tasks.set(stage.task, { id: stage.task, stages: [], inlet: null, feeds: [] });
    tasks.get(stage.task).stages.push(stage);
    taskOf.set(stage.name, stage.task);
  }
  for (const buffer of run.buffers) {
    const task = tasks.get(taskOf.get(buffer.before));
    if (!task) continue;
    task.inlet = buffer;
    const feeds = (buffer.after ?? []).map((name) => taskOf.get(name));
    task.feeds = [...new Set(feeds)].filter((id) => id !== undefined && id !== task.id);
  }
  return [...tasks.values()];
}

/**
 * Layers of tasks, from the sources to the end: an array of arrays of ids. A task is in the layer
 * right before the first that it feeds; within a layer, near what it feeds, so that lines don't cross.
 */
export function layersOf(tasks) {
  const feeds = new Map(tasks.map((task) => [task.id, task.feeds]));
  const fed = new Map(tasks.map((task) => [task.id, []]));
  for (const task of tasks) for (const id of task.feeds) fed.get(id).push(task.id);

  const depths = new Map();
  const depth = (id, path) => {
    if (depths.has(id)) return depths.get(id);
    const behind = fed.get(id).filter((each) => !path.has(each)); // a pipeline has no circle; be sure
    const own = behind.length
      ? 1 + Math.max(...behind.map((each) => depth(each, new Set(path).add(id))))
      : 0;
    depths.set(id, own);
    return own;
  };
  for (const task of tasks) depth(task.id, new Set());

  const last = Math.max(0, ...depths.values());
  const layers = Array.from({ length: last + 1 }, () => []);
  for (const task of tasks) layers[last - depths.get(task.id)].push(task.id);
  for (let index = last - 1; index >= 0; index -= 1) sortNear(layers[index], layers[index + 1], fed);
  for (let index = 1; index <= last; index += 1) sortNear(layers[index], layers[index - 1], feeds);
  return layers;
}

function sortNear(layer, neighbours, joined) {
  const places = new Map(neighbours.map((id, place) => [id, place]));
  const wanted = new Map(layer.map((id, place) => {
    const known = joined.get(id).filter((each) => places.has(each)).map((each) => places.get(each));
    return [id, known.length ? known.reduce((a, b) => a + b) / known.length : place];
  }));
  layer.sort((one, two) => wanted.get(one) - wanted.get(two));
}
