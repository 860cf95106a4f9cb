"""Shopping baskets from a file to the ledger: the job behind ``clearing submit``.

``basket_file`` reads the baskets, ``store_merchants`` says whose stores they are of, ``waves`` plans what is presented
together, and ``submission`` presents it. All but the last is pure.

What the job does is this, and no more: for each basket in the order of time, the household's card earns the basket's
points; and if the card can then spend the set number of points, exactly that number is burned there and then, once a
basket. A basket whose amount earns no whole point changes nothing. Whoever sums up the same file in that order gets
the same ledger.
"""
