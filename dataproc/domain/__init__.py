"""The words of the trade: plain values and rules, without Ray, SQL or HTTP."""
