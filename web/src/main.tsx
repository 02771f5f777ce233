import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { startI18n } from "./i18n";
import { App } from "./page/App";
import { addressBar } from "./page/address";
import { isolate } from "./page/isolation";
import { servicesHere } from "./page/services";
import { startTheme } from "./page/theme";
import "./page/styles/index.css";

startTheme(); // before anything is drawn, or the page would flash
if (await isolate()) {
  await startI18n();
  createRoot(document.getElementById("root") as HTMLElement).render(
    <StrictMode>
      <App services={servicesHere()} address={addressBar} />
    </StrictMode>,
  );
}
