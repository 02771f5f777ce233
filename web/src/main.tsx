import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { startI18n } from "./i18n";
import { App } from "./page/App";
import { servicesHere } from "./page/services";
import "./page/styles/index.css";

await startI18n();
createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <App services={servicesHere()} />
  </StrictMode>,
);
