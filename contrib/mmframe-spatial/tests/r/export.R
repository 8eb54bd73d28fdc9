# Wheat2 of nlme as the package's data: run in tests/r by  Rscript export.R
library(nlme)
d <- as.data.frame(Wheat2)
out <- data.frame(block = as.character(d$Block), variety = as.character(d$variety), yld = d$yield, latitude = d$latitude,
                  longitude = d$longitude, row = round(d$latitude / 4.3), column = round(d$longitude / 1.2))
write.csv(out, "../../src/mmframe_spatial/data/wheat2.csv", row.names = FALSE, quote = FALSE)
