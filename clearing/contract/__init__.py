"""Between the contract's protobuf bytes and the model's values.

Decoding validates: whatever comes out of here is within the bounds the contract states, so that nothing behind it
checks shapes again.
"""
