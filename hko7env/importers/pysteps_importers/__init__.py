"""pysteps' importers behind the contract of :class:`hko7env.importers.contract.Format`."""
