// The list of wearers.

import { listNames } from "../page/names.js";

await listNames("events", "series", "actogram", "wearer");
