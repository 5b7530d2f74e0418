"""The HTML page of an archive, and the charts and HTML elements that it consists of."""
