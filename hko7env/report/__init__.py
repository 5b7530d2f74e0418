"""HTML pages about runs and archives: statistics, charts, and the HTML elements that pages consist of."""
