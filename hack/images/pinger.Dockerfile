FROM scratch
COPY pinger /pinger
ENTRYPOINT ["/pinger"]
