/** What is cut. Apart from subjects.ts, which loads all of it. */
export const SUBJECTS = ["host", "store"] as const;
export type SubjectName = (typeof SUBJECTS)[number];
