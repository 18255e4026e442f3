/** What a guest prints for the machine outside begins like this; init.c prints the last such line. */
export const MARK = "PINION-GUEST";
