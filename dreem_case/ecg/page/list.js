// The list of records.

import { listNames } from "../page/names.js";

await listNames("beats", "records", "strips", "record");
