/** How groups and projects are drawn: beside each other with room, else below each other. */
import type { Column } from '../../shared/feature.ts';
import type { Canvas } from '../canvas.ts';
import { NO_STATUS } from '../nothing.ts';
import { drawPanel, type Panels } from '../panels.ts';
import type { Overview, Running } from '../reads.ts';
import type { View } from '../screen.ts';
import { selectedRow, tableRows, wrap } from '../table.ts';
import { type GroupRow, groupRows } from './home-rows.ts';
import {
  type Fact,
  groupColumns,
  groupDetails,
  type ProjectRow,
  projectColumns,
  projectDetails,
} from './places-rows.ts';

export type Panel = 'groups' | 'projects';

export interface PlacesState extends Panels<Panel> {
  /** Ids of the selected rows as of the last drawing; '' without one. */
  group: string;
  project: string;
  /** Id of a group that is to be selected as soon as it is known. */
  wanted: string;
}

export type PlacesView = View<PlacesState>;

const NO_RUNS: readonly Running[] = [];
const NO_PROJECTS: readonly ProjectRow[] = [];

export function overviewOf(view: Pick<View, 'read'>): Overview {
  return view.read('status').value ?? NO_STATUS;
}

export function groupsOf(view: Pick<View, 'read'>): readonly GroupRow[] {
  return groupRows(overviewOf(view), view.read('running').value ?? NO_RUNS);
}

export function projectsOf(view: Pick<View, 'read'>): readonly ProjectRow[] {
  return view.read('projects').value ?? NO_PROJECTS;
}

export function chosen(view: PlacesView): { group: GroupRow | undefined; project: ProjectRow | undefined } {
  return {
    group: selectedRow(groupsOf(view), groupColumns, view.state.groups),
    project: selectedRow(projectsOf(view), projectColumns, view.state.projects),
  };
}

/** Calls `work` with the rows and columns of a list. */
export function onTable<R>(
  panel: Panel,
  view: PlacesView,
  work: <T extends object>(rows: readonly T[], columns: readonly Column<T>[]) => R,
): R {
  return panel === 'groups' ? work(groupsOf(view), groupColumns) : work(projectsOf(view), projectColumns);
}

export function drawPlaces(canvas: Canvas, before: PlacesView): PlacesState {
  const view = { ...before, state: withWanted(before) };
  const { width, height } = canvas;
  const wide = width >= 100 && height >= 26;
  const left = wide ? Math.floor(width * 0.6) : width;
  const lists = wide ? height : Math.max(10, Math.ceil(height * 0.6));
  const upper = Math.ceil(lists / 2);
  const state = drawList(canvas.area(0, 0, left, upper), { x: 0, y: 0 }, 'groups', view, view.state);
  const next = drawList(canvas.area(0, upper, left, lists - upper), { x: 0, y: upper }, 'projects', view, state);
  const { group, project } = chosen({ ...view, state: next });
  const pane = wide ? canvas.area(left, 0, width - left, height) : canvas.area(0, lists, width, height - lists);
  const settled = { ...next, group: group?.id ?? '', project: project?.id ?? '' };
  drawDetails(pane, { ...view, state: settled }, group, project);
  return settled;
}

// --- internal ---

function withWanted({ state, read }: PlacesView): PlacesState {
  if (state.wanted === '') return state;
  const at = tableRows(groupsOf({ read }), groupColumns, state.groups).findIndex(({ id }) => id === state.wanted);
  return at < 0 ? state : { ...state, wanted: '', groups: { ...state.groups, at } };
}

const EMPTY = {
  groups: 'No group yet. Connect two drives and press n: the wizard pairs them, step by step.',
  projects: 'No project yet. A project is a folder with a name on the drives of a group: press n here.',
};

function drawList(
  canvas: Canvas,
  at: { x: number; y: number },
  panel: Panel,
  view: PlacesView,
  state: PlacesState,
): PlacesState {
  return onTable(panel, view, (rows, columns) => {
    const answer = view.read(panel === 'groups' ? 'status' : 'projects');
    const empty = answer.error ?? (answer.value ? EMPTY[panel] : 'Reading …');
    const title = panel === 'groups' ? 'Groups' : 'Projects';
    return drawPanel(canvas, at, { panel, title, rows, columns, empty }, state);
  });
}

function drawDetails(
  canvas: Canvas,
  view: PlacesView,
  group: GroupRow | undefined,
  project: ProjectRow | undefined,
): void {
  const ofGroup = view.state.panel === 'groups';
  const name = ofGroup ? group?.name : project?.name;
  const box = canvas.box({ title: name ?? 'Details', right: 'Enter actions' });
  const facts: Fact[] =
    ofGroup && group
      ? groupDetails(group, view.read('group', group.id).value, view.now)
      : !ofGroup && project
        ? projectDetails(project, view.read('project', project.id).value)
        : [];
  const lines = facts.flatMap(([text, tone = 'plain']) => wrap(text, box.width).map((line) => [line, tone] as const));
  // In a low pane two columns hold what one cannot.
  const columns = lines.length > box.height && box.width >= 70 ? 2 : 1;
  const width = Math.floor(box.width / columns);
  lines.slice(0, box.height * columns).forEach(([line, tone], index) => {
    const column = Math.floor(index / Math.max(1, box.height));
    box.area(column * width, index % Math.max(1, box.height), width - (columns > 1 ? 1 : 0), 1).put(0, 0, line, tone);
  });
}
