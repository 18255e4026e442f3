/** Options layering: argument > environment > TOML file > default. */
export { ENV_PREFIX, variableOf } from "./option-set.ts";
export type {
  OptionDefinition,
  OptionLayers,
  OptionRelation,
  OptionSet,
  OptionSource,
  ResolvedOptions,
  ValueSchema,
} from "./option-set.ts";
export { formatQuantity, parseQuantity, QUANTITY_FORMS, type QuantityUnit } from "./quantity.ts";
export { resolveOptions } from "./resolve-options.ts";
export { optionsTable } from "./options-reference.ts";
