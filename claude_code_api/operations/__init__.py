"""Operations: what helps to run the gateway and to see what it does. It knows no request."""
