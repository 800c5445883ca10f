export interface DemoCrew {
  readonly id: string;
  readonly name: string;
  readonly role: string;
  readonly airports: readonly string[];
}

/** The demo's users. Airports overlap, so that one change reaches several users and one flight stands in two buckets. */
export const DEMO_CREW: readonly DemoCrew[] = [
  { id: 'amelia', name: 'Amelia Ortiz', role: 'Captain', airports: ['ORD', 'ATL', 'DFW'] },
  { id: 'bjorn', name: 'Björn Haaland', role: 'First officer', airports: ['ORD', 'MSP'] },
  { id: 'chiyo', name: 'Chiyo Tanaka', role: 'Dispatcher', airports: ['LAX', 'SFO', 'SEA', 'LAS', 'PHX'] },
  { id: 'dayo', name: 'Dayo Adebayo', role: 'Ramp lead', airports: ['ATL'] },
  { id: 'elif', name: 'Elif Yılmaz', role: 'Purser', airports: ['DFW', 'IAH', 'DEN'] },
  { id: 'farid', name: 'Farid Nasser', role: 'On call', airports: [] },
];
