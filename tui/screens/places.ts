/**
 * Groups and projects: a list of each, and the details of what is selected. Keys mean the selected row of the list that has
 * them; Enter opens everything that can be done with it.
 */
import type { InputEvent } from '../input.ts';
import { TABLE_KEYS } from '../keymap.ts';
import { panelInput } from '../panels.ts';
import { type Binding, defineScreen, type Effect, type Step, type View } from '../screen.ts';
import { emptyTable } from '../table.ts';
import { want } from '../wants.ts';
import { ACTIONS, groupAction, LOOKS, menu, projectAction } from './places-actions.ts';
import { chosen, drawPlaces, groupsOf, onTable, type PlacesState, type PlacesView } from './places-draw.ts';
import { groupWizard } from './places-wizard.ts';

export const places = defineScreen<PlacesState>({
  name: 'places',
  title: 'Groups',
  short: 'Group',
  hotkey: '6',
  start: { panel: 'groups', groups: emptyTable, projects: emptyTable, areas: {}, group: '', project: '', wanted: '' },
  wants: ({ group, project }) => [
    want('status'),
    want('running'),
    want('projects'),
    want('plans'),
    want('options'),
    ...(group === '' ? [] : [want('group', group)]),
    ...(project === '' ? [] : [want('project', project)]),
  ],
  draw: drawPlaces,
  keys: keys(),
  act,
  input,
  pick: (state, id) => ({ ...state, panel: 'groups', groups: { ...emptyTable }, wanted: id }),
  opening: ({ read, readOnly }) => {
    if (readOnly) return null;
    const { value } = read('status');
    return value && (value.groups.length === 0 ? groupWizard() : null);
  },
});

// --- internal ---

function keys(): Binding<PlacesState>[] {
  return [
    {
      keys: ['tab', 'S-tab'],
      show: 'Tab',
      action: 'other',
      label: 'list',
      help: 'the other list',
      group: 'move',
      hint: 1,
    },
    {
      keys: ['enter'],
      action: 'menu',
      label: 'actions',
      help: 'everything that can be done with it',
      group: 'do',
      hint: 10,
    },
    ...ACTIONS.map(
      ([key, action, label, help, hint]): Binding<PlacesState> => ({
        keys: [key],
        action,
        label,
        help,
        group: 'do',
        ...(hint !== undefined && { hint }),
        writes: !LOOKS.has(action),
        disabled: (view) => step(action, view).why,
      }),
    ),
    ...(TABLE_KEYS as Binding<PlacesState>[]),
  ];
}

function step(action: string, view: PlacesView): { why?: string | undefined; effects?: readonly Effect[] } {
  if (action === 'new' && view.state.panel === 'groups')
    return { effects: [{ kind: 'overlay', overlay: groupWizard() }] };
  const { group, project } = chosen(view);
  return view.state.panel === 'groups' ? groupAction(action, group, view) : projectAction(action, project, view);
}

function act(action: string, view: PlacesView): Step<PlacesState> {
  const { state } = view;
  if (action === 'other') return { state: { ...state, panel: state.panel === 'groups' ? 'projects' : 'groups' } };
  if (action !== 'menu') return { effects: step(action, view).effects ?? [] };
  const { group, project } = chosen(view);
  const name = state.panel === 'groups' ? group?.name : project?.name;
  if (name === undefined)
    return step('new', view).why === undefined && !view.readOnly ? { effects: step('new', view).effects ?? [] } : {};
  const actions = ACTIONS.map(([key, one, label, help]) => ({
    key,
    label,
    help,
    writes: !LOOKS.has(one),
    ...step(one, view),
  }));
  return { effects: [{ kind: 'overlay', overlay: menu(name, actions, view.readOnly) }] };
}

/** A click on the row that is selected already opens the menu. */
function input(event: InputEvent, view: View<PlacesState>): Step<PlacesState> | undefined {
  const { state } = view;
  const next = panelInput(event, state, ['groups', 'projects'], (panel, work) => onTable(panel, view, work));
  if (!next || event.kind !== 'mouse' || event.action !== 'click' || groupsOf(view).length === 0)
    return next && { state: next };
  const [table, before] = [next[next.panel], state[next.panel]];
  const again = next.panel === state.panel && table.at === before.at && table.sort === before.sort;
  return again ? { state: next, ...act('menu', view) } : { state: next };
}
