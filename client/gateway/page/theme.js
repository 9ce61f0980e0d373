// theme.js - dark or light, before anything is drawn: as it was last chosen here, else as the system has it.
(() => {
    const KEY = "penstock-theme";
    const system = matchMedia("(prefers-color-scheme: dark)");
    let chosen = null;
    try {
        chosen = localStorage.getItem(KEY);
    } catch {
        // A browser that keeps nothing follows the system.
    }
    const apply = () => {
        document.documentElement.dataset.theme = chosen || (system.matches ? "dark" : "light");
    };
    apply();
    system.addEventListener("change", apply);
    window.penstockTheme = {
        isDark: () => document.documentElement.dataset.theme === "dark",
        toggle() {
            chosen = this.isDark() ? "light" : "dark";
            try {
                localStorage.setItem(KEY, chosen);
            } catch {
                // Remembered until the page is closed.
            }
            apply();
        },
    };
})();
