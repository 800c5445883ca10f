/** A crew sees the flights that touch its airports and the notes there, its own assignments, and everybody's airports, and writes what the role lets it write of its flights. */
export const DEMO_RULES_YAML = `version: 1
streams:
  airports:
    query: SELECT * FROM airports
  crew:
    query: SELECT * FROM crew
  my_assignments:
    query: SELECT * FROM assignments WHERE crew_id = auth.user_id()
  my_flights:
    query: |
      SELECT * FROM flights
      WHERE origin IN (SELECT airport FROM assignments WHERE crew_id = auth.user_id())
         OR destination IN (SELECT airport FROM assignments WHERE crew_id = auth.user_id())
  notes:
    query: SELECT * FROM notes WHERE airport IN (SELECT airport FROM assignments WHERE crew_id = auth.user_id())
writes:
  role: departures_crew
  tables:
    flights: { policy: merge }
    notes: { policy: merge }
`;
